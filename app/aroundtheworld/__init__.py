"""Around The World: a geography game of fast public pages and honestly slow admin pages."""
