"""What the server's page and the static page share: files, and previews of styles."""
