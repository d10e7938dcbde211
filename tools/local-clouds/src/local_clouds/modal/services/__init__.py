"""The RPCs of the control plane, a file per subject."""
