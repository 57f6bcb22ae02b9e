"""Runs the role's modules in this process, as Ansible would on a host."""

import json

import pytest
from ansible.module_utils.testing import patch_module_args


class FailedError(Exception):
    """The module ended with `fail_json`; the message is its own."""


@pytest.fixture
def run_module(capsys):
    """Returns a function that runs a module and returns its result, or raises `FailedError`."""

    def run(module, *, check=False, **arguments):
        capsys.readouterr()
        arguments |= {"_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            module.main()
        said = json.loads(capsys.readouterr().out)
        if said.get("failed"):
            raise FailedError(said["msg"])
        return said

    run.failed = FailedError
    return run
