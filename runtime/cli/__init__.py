"""The commands `st-image` and `st-engines`, and the options that commands share."""
