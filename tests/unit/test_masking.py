"""What is taken for a secret and what is not, in texts, options and code."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from expkit import masking
from expkit.errors import TrackingError
from expkit.masking import is_masked, masked, masked_values, recordable, recordable_override, remember
from expkit.secret_names import is_secret_name, is_secret_variable
from expkit.tracking.passwords import with_password


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(masking, "_remembered", {})
    for name in list(masking.os.environ):
        if is_secret_variable(name):
            monkeypatch.delenv(name)
    yield


@pytest.mark.parametrize(
    "name",
    [
        *("password", "dataset.password", "db_passwd", "sslpassword", "PGPASSWORD", "token", "hf_token", "accessToken"),
        *("api_key", "apikey", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_1", "client_secret", "credentials", "secrets"),
        *("MLFLOW_TRACKING_TOKEN", "private-key", "key_passphrase", "Authorization", "tracking.tags.api_key"),
    ],
)
def test_names_that_say_it(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("model.num_tokens", "tokenizer", "tokenizer.name", "pad_token", "model.cls_token", "max_tokens", "key"),
        *("token_embedding", "token_type_ids", "sort_key", "monkey", "password_file", "secret_name", "token_url"),
        *("model.keys", "passes", "TOKENIZERS_PARALLELISM", "model.use_class_token", "keyboard", "compass"),
    ],
)
def test_names_that_do_not(name: str) -> None:
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me@h/db?password=a%23b&sslmode=require", "postgresql://me@h/db?password=***&sslmode=require"),
        ("http://h/x?page=2&token=abc,http://h/y?sig=def", "http://h/x?page=2&token=***,http://h/y?sig=***"),
        ("not stored in http://h/x?token=a:b: 3 points", "not stored in http://h/x?token=***: 3 points"),
        ("see http://h/x?token=a.b, or token=c: it", "see http://h/x?token=***, or token=***: it"),
        ("mysql://h/db?sslpassword=x&ssl_key=y", "mysql://h/db?sslpassword=***&ssl_key=y"),
        (
            "mssql://?odbc_connect=DRIVER%3DX%3BPWD%3Dabc%3BUID%3Dme",
            "mssql://?odbc_connect=DRIVER%3DX%3BPWD%3D***%3BUID%3Dme",
        ),
        ("https://ghp_0123456789abcdefghij@github.com/a", "https://***@github.com/a"),
        ("host=h password=abc user=me", "host=h password=*** user=me"),
        ('{"password": "a b\'c", "user": "me"}', '{"password": "***", "user": "me"}'),
        ("+tracking.tags={api_key:abc,token:def,owner:me}", "+tracking.tags={api_key:***,token:***,owner:me}"),
        ("a:\n  token: abc\n  password: 'x y'\n", "a:\n  token: ***\n  password: '***'\n"),
        (
            "no api_key: secrets; token: abc num_tokens=5 token_dim=64",
            "no api_key: secrets; token: abc num_tokens=5 token_dim=64",
        ),
        ("use_auth_token=true password=null token=${oc.env:X}", "use_auth_token=true password=null token=${oc.env:X}"),
        ("http://me:${oc.env:PW}@h/x", "http://me:${oc.env:PW}@h/x"),
    ],
)
def test_secrets_are_known_by_their_place(text: str, expected: str) -> None:
    assert masked(text) == expected
    assert masked(expected) == expected


def test_values_of_variables_are_hidden_wherever_they_turn_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0k'n/\"x y")
    monkeypatch.setenv("DB_PASSWORD", "postgres")
    monkeypatch.setenv("A_SECRET", "short")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", __file__)
    monkeypatch.setenv("MY_STORE", "http://me:p%40ssw0rd@host")
    monkeypatch.setenv(
        "SIGNING_KEY", "-----BEGIN KEY-----\nMIIabcdefghijklmnop\nMIIqrstuvwxyz012345\n-----END KEY-----"
    )
    assert masked("Bearer t0k'n/\"x y.") == "Bearer ***."
    assert masked('{"a": "t0k\'n/\\"x y"}') == '{"a": "***"}'
    assert masked("?q=t0k%27n%2F%22x%20y") == "?q=***"
    assert masked("postgresql://postgres@h, as postgres") == "postgresql://***@h, as ***", "a word only by itself"
    assert masked(f"short {__file__}") == f"short {__file__}"
    assert masked("p@ssw0rd p%40ssw0rd") == "*** ***"
    assert masked("  MIIqrstuvwxyz012345\n") == "  ***\n"


def test_what_a_config_holds_is_hidden_elsewhere_too() -> None:
    assert masked("cannot log in with hunter2") == "cannot log in with hunter2"
    remember({"dataset": {"password": "hunter2", "url": "https://me:s3cr3t@host"}, "credentials": {"any": "abcdef1"}})
    assert masked("cannot log in with hunter2 or s3cr3t or abcdef1") == "cannot log in with *** or *** or ***"


def test_options_hide_by_their_names() -> None:
    tree = {"password": 12345, "token": "x", "num_tokens": 5, "secrets": {"a": ["b"]}, "seed": 1, "use_token": True}
    hidden = {
        "password": "***",
        "token": "***",
        "num_tokens": 5,
        "secrets": {"a": ["***"]},
        "seed": 1,
        "use_token": True,
    }
    assert masked_values(tree) == hidden


def test_a_recorded_config_names_the_variable_that_holds_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter22")
    monkeypatch.setenv("STORE_URI", "http://me:an0ther@host")
    kept = recordable({"password": "hunter22", "uri": "postgresql://me:hunter22@h", "token": "typed", "b": "hunter22x"})
    assert kept["password"] == "${oc.env:PGPASSWORD}"
    assert kept["uri"] == "postgresql://me:${oc.env:PGPASSWORD}@h"
    assert kept["token"] == "***"
    assert recordable("http://me:an0ther@host") == "${oc.env:STORE_URI}"
    assert recordable_override("+dataset.password='hunter22'") == "+dataset.password=${oc.env:PGPASSWORD}"
    assert recordable_override("dataset.password=typed") == "dataset.password=***"
    assert recordable_override("model=mlp") == "model=mlp"
    assert [is_masked(one) for one in ("***", "a://b:***@c", "a://b?token=***", "a***b", 3)] == [True] * 3 + [False] * 2


def test_code_is_recorded_as_it_is_but_for_literals() -> None:
    code = 'f(token=token, password=password)\nPASSWORD = "hunter2"\nkeys = {"api_key": "x", "pad_token": "y"}\n'
    expected = 'f(token=token, password=password)\nPASSWORD = "***"\nkeys = {"api_key": "***", "pad_token": "y"}\n'
    assert masked(code, code=True) == expected


def test_a_store_gets_its_password_back_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = "postgresql+psycopg2://me:***@host/db"
    assert with_password("postgresql://me@host/db") == "postgresql://me@host/db"
    with pytest.raises(TrackingError, match=r"me:\*\*\*@host.* are not recorded.*MLFLOW_TRACKING_URI or PGPASSWORD"):
        with_password(recorded)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:another@host/other")
    monkeypatch.setenv("PGPASSWORD", "p@ss word")
    assert with_password(recorded) == "postgresql+psycopg2://me:p%40ss%20word@host/db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://me:whole22@host/db")
    assert with_password(recorded) == "postgresql+psycopg2://me:whole22@host/db"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    assert with_password("https://me:***@host/mlflow") == "https://me:hunter2@host/mlflow"
