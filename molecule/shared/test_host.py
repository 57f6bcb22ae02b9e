"""A test host is a host: systemd runs it, all that it started came up, and limits are real."""

RUN = "systemd-run --quiet --pipe --wait --collect -p DynamicUser=1"


def test_systemd_is_in_charge(host):
    assert host.process.get(pid=1).comm == "systemd"
    assert host.check_output("systemctl is-system-running || systemctl --failed") == "running"


def test_a_memory_limit_is_enforced(host):
    takes = f"{RUN} -p MemoryMax=50M -p MemorySwapMax=0 python3 -c 'b\"x\" * ({{}} << 20)'"
    assert host.run(takes.format(1)).rc == 0
    # A service that was killed makes systemd-run exit 255, which testinfra takes for ssh's own.
    assert host.run(f"{takes.format(200)} || exit 1").rc == 1


def test_sandboxing_is_enforced(host):
    assert host.run(f"{RUN} -p PrivateTmp=1 touch /tmp/written").rc == 0
    assert not host.file("/tmp/written").exists
    assert host.run(f"{RUN} -p User=root -p ProtectSystem=strict touch /usr/written").rc == 1
    assert not host.file("/usr/written").exists


def test_a_credential_reaches_a_service(host):
    reads = f"{RUN} -p SetCredential=word:safe sh -c 'cat \"$CREDENTIALS_DIRECTORY/word\"'"
    assert host.check_output(reads) == "safe"
