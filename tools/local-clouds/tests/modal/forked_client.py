"""The real client, ready: each run of `modal` or of a script is a process forked after the imports.

Importing the client takes most of a run's time. A script of its own: reads runs from standard input as JSON lines
`{argv, script, cwd, env}` and answers each with `{code, out, err}`. Nothing is carried from one run to the next.
"""

import json
import os
import runpy
import signal
import sys
import tempfile

import modal.__main__

LONGEST_RUN = 60
"""Seconds after which a run is ended."""


def run(job, out, err):
    signal.alarm(LONGEST_RUN)
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    if job["script"]:
        sys.path[0] = os.path.dirname(job["script"])
        runpy.run_path(job["script"], run_name="__main__")
    else:
        sys.argv = ["modal", *job["argv"]]
        sys.path[0] = ""
        modal.__main__.main()


def forked(job):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                run(job, out, err)
                code = 0
            except SystemExit as end:
                if isinstance(end.code, str):
                    print(end.code, file=sys.stderr)
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return {"code": code, "out": texts[0], "err": texts[1]}


for line in sys.stdin:
    print(json.dumps(forked(json.loads(line))), flush=True)
