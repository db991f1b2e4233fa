"""End a search for hyper-parameters: its best trial, and the page that shows it."""
