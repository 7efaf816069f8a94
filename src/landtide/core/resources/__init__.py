"""Legends and crosswalks as CSV tables."""
