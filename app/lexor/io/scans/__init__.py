"""Scans: volumes with a place in the patient, in scanners' and research's formats; `lexor.io.scan` is the door."""
