"""Who may see and change what on the page: accounts, sessions, and the checks of every request."""
