"""ComfyUI on Modal: the gateway that speaks Comfy API v2, and the GPU side around comfy_worker."""
