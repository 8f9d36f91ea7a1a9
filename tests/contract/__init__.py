"""Promises that hold for the project as a whole: its walls, its files, its words."""
