"""`st-webcam --serve`: the visitor's camera painted in the browser, and pictures over HTTP."""
