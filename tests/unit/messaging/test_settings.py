import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import parse_url
from pydantic import SecretStr, ValidationError

from messaging.settings import BrokerSettings
from tests.processes import REPOSITORY

NASTY = "p@ss:w/o#r?d %40&=é"


def test_the_defaults_are_a_redis_on_this_machine() -> None:
    settings = BrokerSettings()
    assert settings.url == settings.public_url == "redis://127.0.0.1:6379/0"
    assert settings.visibility_timeout_seconds >= 2.5 * settings.time_limit_seconds


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCHSIGHT_REDIS_URL", "redis://broker:7000/3")
    monkeypatch.setenv("BATCHSIGHT_REDIS_PASSWORD", "secret")
    monkeypatch.setenv("BATCHSIGHT_TIME_LIMIT_SECONDS", "400")
    settings = BrokerSettings()
    assert settings.url == "redis://:secret@broker:7000/3"
    assert settings.visibility_timeout_seconds == 1000


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_any_password_reaches_both_clients_as_it_is(password: str) -> None:
    settings = BrokerSettings(
        redis_url="redis://worker@broker:6379/2", redis_password=SecretStr(password)
    )
    with redis.Redis.from_url(settings.url) as client:
        options = client.connection_pool.connection_kwargs
    assert (options["username"], options["password"]) == ("worker", password)
    assert (options["host"], options["db"]) == ("broker", 2)
    parts = parse_url(settings.url)
    assert (parts["userid"], parts["password"]) == ("worker", password)
    assert (parts["hostname"], parts["virtual_host"]) == ("broker", "2")


def test_a_password_in_the_url_comes_before_the_other_one() -> None:
    settings = BrokerSettings(
        redis_url="redis://:first@broker:6379/0", redis_password=SecretStr("second")
    )
    assert urlsplit(settings.url).password == "first"


@pytest.mark.parametrize(
    "settings",
    [
        BrokerSettings(redis_url="redis://user:hunter2@broker:6379/0"),
        BrokerSettings(redis_url="redis://broker:6379/0", redis_password=SecretStr("hunter2")),
        BrokerSettings(redis_url="rediss://u:x@hunter2@broker:6379/0?ssl_cert_reqs=none"),
    ],
    ids=["in the URL", "on its own", "with an at sign"],
)
def test_secrets_are_never_shown(settings: BrokerSettings) -> None:
    for shown in (settings.public_url, repr(settings), str(settings), f"{settings}"):
        assert "hunter2" not in shown
    assert settings.public_url.endswith("//broker:6379/0")
    assert "hunter2" in settings.url


@pytest.mark.parametrize(
    "url",
    [
        "http://u:hunter2@broker",
        "redis://",
        "broker:6379",
        "",
        "redis://u:p/hunter2@broker:6379/0",
        "redis://u:123/hunter2@broker:6379/0",
        "redis://u:p#hunter2@broker:6379/0",
        "redis://u:p?hunter2@broker:6379/0",
        "redis://u:hunter2@broker:port/0",
        "redis://u:hunter2@broker:99999/0",
        "redis://u:hunter2@[broker:6379/0",
        "redis://broker:6379/hunter2",
        "redis://broker:6379/0?password=hunter2",
        "rediss://broker:6379/0?ssl_cert_reqs=none&username=u&password=hunter2",
        "redis://broker:6379/0?db=3",
    ],
)
def test_a_url_that_is_none_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValidationError, match="redis://host:6379/0") as refused:
        BrokerSettings(redis_url=url)
    assert "hunter2" not in str(refused.value)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate, in a file with a name that a URL has to quote."""
    path = tmp_path_factory.mktemp("ca") / "our ca.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ours"]
    command += ["-keyout", str(path.with_name("key.pem")), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_tls_checks_the_certificate_with_the_given_ca(ca: Path) -> None:
    settings = BrokerSettings(
        redis_url="rediss://broker:6380/0",
        redis_password=SecretStr(NASTY),
        redis_ca=ca,
    )
    query = parse_qs(urlsplit(settings.url).query)
    assert query == {"ssl_cert_reqs": ["required"], "ssl_ca_certs": [str(ca)]}
    with redis.Redis.from_url(settings.url) as client:
        pool = client.connection_pool
        assert pool.connection_class is redis.SSLConnection
        assert pool.connection_kwargs["ssl_cert_reqs"] == "required"
        assert pool.connection_kwargs["ssl_ca_certs"] == str(ca)
        assert pool.connection_kwargs["password"] == NASTY
    assert settings.public_url == "rediss://broker:6380/0"


def test_tls_without_a_ca_still_checks_the_certificate() -> None:
    url = BrokerSettings(redis_url="rediss://broker:6380/0").url
    assert url == "rediss://broker:6380/0?ssl_cert_reqs=required"


def test_tls_options_in_the_url_are_left_alone(ca: Path) -> None:
    url = "rediss://broker:6380/0?ssl_cert_reqs=none"
    assert BrokerSettings(redis_url=url, redis_ca=ca).url == url


def test_a_url_without_tls_gets_no_tls_options() -> None:
    url = "redis://broker:6379/0"
    assert BrokerSettings(redis_url=url, redis_ca=Path("ca.pem")).url == url


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read (No such file or directory)"), ("no PEM", "holds no certificate")],
)
def test_a_ca_that_cannot_be_used_is_named_with_its_variable(
    tmp_path: Path, content: str | None, problem: str
) -> None:
    path = tmp_path / "gone.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValidationError) as refused:
        BrokerSettings(redis_url="rediss://broker:6380/0", redis_ca=path)
    assert f"BATCHSIGHT_REDIS_CA: {path} {problem}" in str(refused.value)


@pytest.mark.parametrize("url", ["sentinel://a:26379/0", "redis+socket:///run/x", "unix:///run/x"])
def test_what_is_not_supported_is_said_where_it_is_tried(url: str) -> None:
    with pytest.raises(ValidationError, match=r"no Sentinel, no socket"):
        BrokerSettings(redis_url=url)


BAD_URL = ("BATCHSIGHT_REDIS_URL", "http://u:hunter2@broker")
BAD_LEASE = ("BATCHSIGHT_LEASE_SECONDS", "never")


@pytest.mark.parametrize(
    ("program", "variable", "value"),
    [
        ("monitor.flower flower", *BAD_URL),
        *(
            (program, *bad)
            for program in ("worker worker", "trainer worker", "trainer beat")
            for bad in (BAD_URL, BAD_LEASE)
        ),
    ],
)
def test_a_setting_that_a_program_of_celery_cannot_use_is_one_sentence(
    program: str, variable: str, value: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", *program.split()],
        env={**os.environ, variable: value},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {variable}")
    assert "cannot be used: " in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stdout + done.stderr


def test_the_soft_time_limit_comes_before_the_hard_one() -> None:
    with pytest.raises(ValidationError, match="SOFT_TIME_LIMIT_SECONDS=300 must be below"):
        BrokerSettings(soft_time_limit_seconds=300, time_limit_seconds=300)
    assert BrokerSettings(soft_time_limit_seconds=1, time_limit_seconds=2).time_limit_seconds == 2


def test_kombu_takes_tls_and_password_from_the_url(ca: Path) -> None:
    from messaging.app import make_app

    settings = BrokerSettings(
        redis_url="rediss://broker:6380/1",
        redis_password=SecretStr(NASTY),
        redis_ca=ca,
    )
    app = make_app("test", settings=settings)
    with app.connection_for_write() as connection:
        assert connection.password == NASTY
        assert connection.ssl["ssl_ca_certs"] == str(ca)
        assert "p@ss" not in connection.as_uri()
