"""`st-compare`: paints one photograph with many methods, on one sheet."""
