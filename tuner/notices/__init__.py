"""What people are told of a search: messages to web addresses and by e-mail."""
