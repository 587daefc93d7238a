"""Networks and layers that methods share."""
