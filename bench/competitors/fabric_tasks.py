"""Run by Fabric's own Python: argv[1] is a JSON file with the connection, the roots, the script and the package."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fabric import Config, Connection

job = json.loads(Path(sys.argv[1]).read_text())


def on_node(root: str) -> None:
    configuration = Config(overrides={"load_ssh_configs": False})
    with Connection(
        job["host"],
        user=job["user"],
        port=job["port"],
        config=configuration,
        connect_kwargs={"key_filename": job["key"], "allow_agent": False, "look_for_keys": False},
    ) as connection:
        if job["package"]:
            connection.put(job["package"], f"{root}/package.tar.gz")
        connection.run(job["script"].replace("{root}", root), hide=True, in_stream=False)


with ThreadPoolExecutor(max_workers=len(job["roots"])) as pool:
    list(pool.map(on_node, job["roots"]))
