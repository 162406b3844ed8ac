"""Servers of databases on loopback, which speak as the real ones do and fail as they are told."""
