"""`st-compare`: one photograph by many methods on one sheet."""
