"""Judges one thing each: functions from `Facts` to one `Finding`."""
