"""The ComfyUI worker as a RunPod serverless handler."""
