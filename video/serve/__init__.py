"""The server of `st-webcam --serve`: paints the cameras of visitors, and pictures over HTTP."""
