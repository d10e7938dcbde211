"""An app that uses what apps/modal uses; deployed by the tests with the real `modal deploy`."""

import asyncio
import os
import threading

import modal

app = modal.App("sample")
image = modal.Image.debian_slim(python_version="3.11").env({"MODELS_DIR": "/root/models"})
volume = modal.Volume.from_name("sample-volume", create_if_missing=True, version=2)
notes = modal.Dict.from_name("sample-notes", create_if_missing=True)
queue = modal.Queue.from_name("sample-queue", create_if_missing=True)
secret = modal.Secret.from_name("sample-secret")


@app.cls(
    image=image,
    gpu=["L40S", "A100-80GB"],
    volumes={"/root/models": volume},
    secrets=[secret],
    scaledown_window=2,
    timeout=60,
    max_containers=2,
    enable_memory_snapshot=True,
)
@modal.concurrent(max_inputs=1)
class Worker:
    name: str = modal.parameter(default="plain")

    @modal.enter(snap=True)
    def prepare(self):
        self.calls = 0
        notes["entered"] = notes.get("entered", 0) + 1

    @modal.enter(snap=False)
    def ready(self):
        self.prepared = True

    @modal.method()
    def work(self, what):
        self.calls += 1
        if what == "raise":
            raise ValueError("on purpose")
        if what.startswith("die"):
            deaths = notes[what] = notes.get(what, 0) + 1
            if deaths <= int(what.rpartition("-")[2]):
                os._exit(7)
        queue.put(what, partition="work")
        return {
            "pid": os.getpid(),
            "calls": self.calls,
            "name": self.name,
            "secret": os.environ["SECRET_VALUE"],
            "models": sorted(os.listdir(os.environ["MODELS_DIR"])),
            "host_variable": os.environ.get("SECRET_OF_THE_HOST"),
        }

    @modal.method()
    async def sleep(self, seconds):
        await notes.put.aio("sleeping", True)
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await notes.put.aio("canceled", True)
            raise
        return "slept"

    @modal.method()
    async def meet(self, key):
        """Ends when two inputs are in it at once."""
        self.met = getattr(self, "met", 0) + 1
        while self.met < 2:
            await asyncio.sleep(0.01)
        return "met"

    @modal.method()
    def write(self, name, text):
        with open(f"/root/models/{name}", "w") as file:
            file.write(text)
        volume.commit()

    @modal.exit()
    def leave(self):
        notes["left"] = notes.get("left", 0) + 1


@app.function(image=image)
@modal.concurrent(max_inputs=100)
@modal.asgi_app(label="sample-api", requires_proxy_auth=True)
def api():
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, StreamingResponse
    from starlette.routing import Route

    async def echo(request):
        return JSONResponse({"path": request.url.path, "size": len(await request.body())})

    async def slow(request):
        await asyncio.sleep(float(request.query_params["seconds"]))
        return JSONResponse({"slow": True})

    async def events(request):
        async def stream():
            for number in range(3):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.05)

        return StreamingResponse(stream(), media_type="text/event-stream")

    return Starlette(
        routes=[
            Route("/slow", slow),
            Route("/events", events),
            Route("/{rest:path}", echo, methods=["GET", "POST"]),
        ]
    )


@app.function(image=image)
def square(x):
    return x * x


@app.function(image=image, retries=modal.Retries(max_retries=2, initial_delay=0.0, backoff_coefficient=1.0))
def flaky(key):
    count = notes.get(key, 0) + 1
    notes[key] = count
    if count < 3:
        raise RuntimeError("not yet")
    return count


@app.function(image=image, retries=modal.Retries(max_retries=1, initial_delay=0.0, backoff_coefficient=1.0))
def picky(key, number):
    """Fails its first attempt at 1, and every attempt at 2."""
    attempt = notes[f"{key}-{number}"] = notes.get(f"{key}-{number}", 0) + 1
    if number == 2 or (number == 1 and attempt == 1):
        raise ValueError(f"not {number}")
    return number * 10


@app.function(
    image=image,
    timeout=1,
    startup_timeout=60,
    retries=modal.Retries(max_retries=1, initial_delay=0.0, backoff_coefficient=1.0),
)
def stuck(key, attempts):
    """Hangs in its first attempts."""
    attempt = notes[key] = notes.get(key, 0) + 1
    if attempt <= attempts:
        threading.Event().wait()
    return attempt


@app.function(image=image, timeout=2, startup_timeout=60, max_containers=1)
@modal.concurrent(max_inputs=2)
async def neighbour(key, hangs):
    """One input hangs; one beside it, started later, ends when it may."""
    if hangs:
        await asyncio.sleep(1)
        await notes.put.aio(f"{key}-half", True)
        await asyncio.Event().wait()
    attempt = await notes.get.aio(key, 0) + 1
    await notes.put.aio(key, attempt)
    while not await notes.contains.aio(f"{key}-free"):
        await asyncio.sleep(0.02)
    return attempt


@app.function(image=image)
def shout(word):
    print("shouting", word)
    return square.remote(4) + 1


@app.function(image=image, scaledown_window=2)
async def wait(key):
    attempt = await notes.get.aio(key, 0) + 1
    await notes.put.aio(key, attempt)
    while not await notes.get.aio(f"{key}-free"):
        await asyncio.sleep(0.02)
    return attempt


@app.function(image=image)
def numbers(n):
    yield from range(n)


@app.local_entrypoint()
def main(n: int = 3):
    print("squares", list(square.map(range(n))))
