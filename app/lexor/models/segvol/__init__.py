"""SegVol's framework: an image encoder of the whole volume, a prompt encoder, SAM's mask decoder."""
