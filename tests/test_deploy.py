"""What can be said of the deployment's files without deploying them."""

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from dotenv import dotenv_values
from gevent.event import Event
from gevent.pywsgi import WSGIServer

from oneapi.config import VARIABLES, Config
from tests.needs import require_service
from tests.nginx import deployed_site, serving, written
from tests.servers import free_port

CHECKOUT = Path(__file__).parent.parent
DEPLOY = CHECKOUT / "deploy"


# ---- .env.example ----

EXAMPLE = (DEPLOY / ".env.example").read_text()
LINES = dict(re.findall(r"^#([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))


def test_every_variable_has_its_line_in_the_example_and_no_other():
    assert list(LINES) == [name.upper() for name in VARIABLES]


@pytest.mark.parametrize("name", VARIABLES)
def test_the_example_shows_a_default_or_a_value_that_is_accepted(name):
    variable, text = VARIABLES[name], LINES[name.upper()]
    if variable.example:
        assert text == variable.example
        variable.parse(text)
    else:
        default = getattr(Config(), name)
        assert (variable.parse(text) if text else type(default)()) == default


@pytest.mark.parametrize("name", VARIABLES)
def test_the_example_explains_a_variable_in_the_words_of_its_help(name):
    before = EXAMPLE[: EXAMPLE.index(f"\n#{name.upper()}=")]
    paragraph = before[before.rindex("\n\n") :]
    assert " ".join(line.removeprefix("# ") for line in paragraph.split("\n") if line) == VARIABLES[name].help


def test_the_example_as_it_stands_changes_nothing(tmp_path):
    assert dotenv_values(DEPLOY / ".env.example") == {}


def test_the_example_with_all_its_lines_switched_on_is_accepted(tmp_path):
    (tmp_path / ".env").write_text(re.sub(r"^#([A-Z_]+=)", r"\1", EXAMPLE, flags=re.MULTILINE))
    complaints: list[str] = []
    values = {name: text or "" for name, text in dotenv_values(tmp_path / ".env").items()}
    config = Config.from_environ({**values, "NODE_TYPE": "slave"}, lambda level, line: complaints.append(line))
    assert config.sql_dsn == "oneapi:password@tcp(localhost:3306)/oneapi"
    assert complaints == []


# ---- containers ----

COMPOSE = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()


def test_compose_starts_the_gateway_with_a_database_and_redis():
    services = COMPOSE["services"]
    assert set(services) == {"oneapi", "db", "redis"}
    assert set(services["oneapi"]["depends_on"]) == {"db", "redis"}
    assert all("healthcheck" in service for service in services.values())
    named = {mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])}
    assert named == set(COMPOSE["volumes"])


def test_the_environment_in_compose_is_one_we_read():
    environ = COMPOSE["services"]["oneapi"]["environment"]
    assert {name.lower() for name in environ} <= set(VARIABLES)
    complaints: list[str] = []
    config = Config.from_environ(environ, lambda level, line: complaints.append(line))
    assert complaints == []
    db = COMPOSE["services"]["db"]["environment"]
    assert config.sql_dsn == f"{db['MYSQL_USER']}:{db['MYSQL_PASSWORD']}@tcp(db:3306)/{db['MYSQL_DATABASE']}"


@pytest.mark.parametrize("body", ['{"message":"","success":true}', '{"message": "", "success": true, "data": {}}'])
def test_the_health_check_in_compose_understands_the_status_page(body):
    _, command = COMPOSE["services"]["oneapi"]["healthcheck"]["test"]
    pattern = command.partition(" | ")[2]
    assert subprocess.run(["sh", "-c", pattern], input=body.encode(), check=False).returncode == 0
    ill = body.replace("true", "false").encode()
    assert subprocess.run(["sh", "-c", pattern], input=ill, check=False).returncode != 0


def test_containers_are_given_longer_than_their_streams():
    assert COMPOSE["services"]["oneapi"]["stop_grace_period"] == "75s"
    assert Config().graceful_timeout < 75


KUBERNETES = {made["kind"]: made for made in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())}


PODS = KUBERNETES["StatefulSet"]["spec"]
POD = PODS["template"]["spec"]
[CONTAINER] = POD["containers"]


def test_the_pods_environment_is_one_we_read_and_its_secrets_are_in_the_secret():
    secret = KUBERNETES["Secret"]
    assert set(secret["stringData"]) == {"SQL_DSN", "REDIS_CONN_STRING", "SESSION_SECRET"}
    assert CONTAINER["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    environ = secret["stringData"] | {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
    assert {name.lower() for name in environ} <= set(VARIABLES)
    complaints: list[str] = []
    config = Config.from_environ(environ, lambda level, line: complaints.append(line))
    assert complaints == []
    assert (config.is_sqlite, config.is_master, config.web_concurrency) == (False, True, 2)


def test_pods_run_as_the_images_user_and_are_given_longer_than_their_streams():
    assert f"--uid {POD['securityContext']['runAsUser']} " in DOCKERFILE
    pause = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    assert POD["terminationGracePeriodSeconds"] > pause + Config().graceful_timeout


def test_a_database_that_is_away_keeps_requests_from_a_pod_and_does_not_restart_it():
    paths = {name: CONTAINER[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_what_a_pod_has_put_aside_outlives_it():
    [claim] = PODS["volumeClaimTemplates"]
    assert CONTAINER["volumeMounts"] == [{"name": claim["metadata"]["name"], "mountPath": "/data"}]
    assert (Config().data_dir, dict(instructions())["WORKDIR"]) == (".", "/data")


def test_everything_in_kubernetes_means_the_same_pods():
    labels = PODS["template"]["metadata"]["labels"]
    assert KUBERNETES["Service"]["spec"]["selector"] == labels
    for selector in (PODS["selector"], KUBERNETES["PodDisruptionBudget"]["spec"]["selector"]):
        assert selector["matchLabels"] == labels
    assert PODS["serviceName"] == KUBERNETES["Service"]["metadata"]["name"]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def test_the_image_runs_the_command_as_an_ordinary_user_in_its_volume():
    steps = instructions()
    last = dict(steps)
    assert last["ENTRYPOINT"] == '["oneapi"]'
    assert (last["USER"], last["WORKDIR"], last["VOLUME"], last["EXPOSE"]) == ("oneapi", "/data", "/data", "3000")
    assert "HEALTHCHECK" in last
    assert [name for name, _ in steps].index("USER") > max(at for at, (name, _) in enumerate(steps) if name == "RUN")


def test_the_base_image_is_pinned_to_a_version_with_wheels():
    assert [value for name, value in instructions() if name == "FROM"] == ["python:3.12-slim"]


def test_the_image_is_given_what_it_copies_and_nothing_private():
    allowed = [line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {"oneapi", "migrations", "wsgi.py", "requirements-hashed.txt"} <= set(allowed)
    assert not {".env", "logs", "one-api.db", ".git"} & set(allowed)
    for name in allowed:
        assert (CHECKOUT / name).exists(), name


# ---- services of the machine ----


def test_the_systemd_unit_starts_the_command_and_lets_streams_end():
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "oneapi.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/oneapi")
    assert int(service["TimeoutStopSec"]) > Config().graceful_timeout
    assert service["KillMode"] == "mixed"
    assert service["User"] != "root"


def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    systemd_analyze = require_service("systemd")
    unit = tmp_path / "oneapi.service"
    text = (DEPLOY / "oneapi.service").read_text()
    unit.write_text(text.replace("/opt/oneapi/.venv/bin/oneapi", sys.executable))
    done = subprocess.run(
        [systemd_analyze, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    faults = [line for line in done.stderr.splitlines() if "oneapi.service" in line]
    assert faults == []


def test_nginx_finds_no_fault_with_the_site(tmp_path):
    nginx = require_service("nginx")
    conf = written(tmp_path, deployed_site("127.0.0.1:3000", free_port()))
    done = subprocess.run([nginx, "-t", "-p", tmp_path, "-c", conf], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr


def test_nginx_passes_a_stream_on_as_it_comes(tmp_path):
    is_read = Event()

    def stream(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield f"data: {environ['HTTP_X_FORWARDED_FOR']}\n\n".encode()
        assert is_read.wait(10), "the first event was held back"
        yield b"data: [DONE]\n\n"

    server = WSGIServer(("127.0.0.1", 0), stream, log=None)
    server.start()
    port = free_port()
    try:
        with serving(tmp_path, port, deployed_site(f"127.0.0.1:{server.server_port}", port)):
            claimed = {"X-Forwarded-For": "203.0.113.9"}
            answer = requests.get(f"http://127.0.0.1:{port}/", headers=claimed, stream=True, timeout=10)
            lines = answer.iter_lines(chunk_size=1)
            assert next(lines) == b"data: 127.0.0.1"
            is_read.set()
            assert list(lines) == [b"", b"data: [DONE]", b""]
            answer.close()
    finally:
        server.stop()


def test_nginx_passes_a_body_as_large_as_we_take():
    size = re.search(r"client_max_body_size (\d+)m;", (DEPLOY / "nginx.conf").read_text())
    assert size is not None
    assert int(size[1]) * 1024 * 1024 == Config().max_body_bytes


# ---- packaging ----


def test_requirements_are_what_panels_can_read():
    for name in ("requirements.txt", "requirements-test.txt"):
        for line in (CHECKOUT / name).read_text().splitlines():
            assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line), line


def test_the_three_lists_agree():
    plain = (CHECKOUT / "requirements.txt").read_text().splitlines()
    hashed = re.findall(r"^([a-z0-9-]+==\S+)", (CHECKOUT / "requirements-hashed.txt").read_text(), re.MULTILINE)
    assert hashed == plain
    names = {line.split("==")[0] for line in plain}
    assert not names & {line.split("==")[0] for line in (CHECKOUT / "requirements-test.txt").read_text().splitlines()}


def test_every_requirement_of_setup_cfg_is_pinned():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(CHECKOUT / "setup.cfg")
    pinned = {line.split("==")[0] for line in (CHECKOUT / "requirements.txt").read_text().splitlines()}
    wanted = re.findall(r"^([A-Za-z0-9-]+)", setup["options"]["install_requires"].strip(), re.MULTILINE)
    assert {name.lower() for name in wanted} <= pinned


def test_the_installed_command_is_the_one_the_deployment_starts():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(CHECKOUT / "setup.cfg")
    assert setup["options.entry_points"]["console_scripts"].strip() == "oneapi = oneapi.cli:main"


def test_make_lists_its_tasks():
    done = subprocess.run(["make"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^  make (\w+) ", done.stdout, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert listed == set(phony[1].split())
