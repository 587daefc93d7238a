"""One module a library that runs engines, behind one protocol."""
