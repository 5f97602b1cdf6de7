"""A month on one page: is it still good, and why?"""
