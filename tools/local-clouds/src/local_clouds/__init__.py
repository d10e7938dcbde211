"""Local stand-ins for Modal and RunPod: the real clients and the real worker code run against them, without an account."""
