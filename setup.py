"""What pyproject.toml cannot say: a wheel carries the traces, which in a checkout lie beside the packages."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

DATA = Path(__file__).parent / "data"


class WithTraces(build_py):
    """Pack the shipped traces and their hashes as hi_lib/data."""

    def run(self) -> None:
        """Copy them beside the modules, unless these stay where they are."""
        super().run()
        if self.editable_mode:
            return
        packed = Path(self.build_lib) / "hi_lib" / "data"
        shutil.copytree(DATA / "traces", packed / "traces", dirs_exist_ok=True)
        shutil.copy2(DATA / "registry.txt", packed)


setup(cmdclass={"build_py": WithTraces})
