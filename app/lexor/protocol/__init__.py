"""The challenge's rules, once each: its boxes, its clicks, and how its files are named."""
