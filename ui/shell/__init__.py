"""What stands around all pages: the border to browsers, addresses, texts of others, what is kept."""
