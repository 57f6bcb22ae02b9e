"""A test host is a host: systemd runs it, all that it started came up, and limits are real."""


def test_systemd_is_in_charge(host):
    assert host.process.get(pid=1).comm == "systemd"
    assert host.check_output("systemctl is-system-running || systemctl --failed") == "running"


def test_a_memory_limit_is_enforced(host):
    hungry = "systemd-run --quiet --pipe --wait --collect -p MemoryMax=50M -p MemorySwapMax=0"
    takes = "python3 -c 'b\"x\" * ({} << 20)'"
    assert host.run(f"{hungry} {takes.format(1)}").rc == 0
    assert host.run(f"{hungry} {takes.format(200)}").rc != 0


def test_sandboxing_is_enforced(host):
    sandbox = "systemd-run --quiet --pipe --wait --collect -p ProtectSystem=strict -p DynamicUser=1"
    assert host.run(f"{sandbox} true").rc == 0
    assert host.run(f"{sandbox} -p PrivateTmp=1 touch /tmp/written").rc == 0
    assert not host.file("/tmp/written").exists
    assert host.run(f"{sandbox} touch /usr/written").rc != 0
    assert not host.file("/usr/written").exists


def test_a_credential_reaches_a_service(host):
    reads = "systemd-run --quiet --pipe --wait --collect -p DynamicUser=1 -p SetCredential=word:safe"
    assert host.check_output(f"{reads} sh -c 'cat \"$CREDENTIALS_DIRECTORY/word\"'") == "safe"
