"""The pictures of the documentation: a file for each page that has some, named as the page."""
