"""Other libraries' search methods, each driven through its own ask and tell.

They need an environment of their own, which `make bench-search` makes. Nothing else imports them.
"""
