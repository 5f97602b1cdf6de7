"""Servers, fakes and factories that several levels of tests share."""
