"""A static page that runs an engine in the browser."""
