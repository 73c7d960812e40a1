"""What can be said of the Kubernetes manifests in docs/deploy.md without Kubernetes."""

from datetime import timedelta
from pathlib import Path

from authsvc.cli.healthcheck import TIMEOUT_SECONDS
from authsvc.rpc.server import AUTH_SERVICE
from tests.docker_files import DEPLOY, containers, health_check, last, manifests, pods, settings_of, stop_time


def test_manifests_give_right_settings(tmp_path: Path) -> None:
    """Every setting in the manifests exists and has a value that is allowed."""
    assert [manifest["kind"] for manifest in manifests()] == ["Job", "Deployment", "Service"]
    for container in containers():
        given = {each["name"]: each.get("value") for each in container["env"]}
        from_secrets = {name: "postgresql://authsvc@database/authsvc" for name, value in given.items() if value is None}
        settings = settings_of({**given, **from_secrets}, tmp_path)
        assert settings.database.url.get_secret_value(), container["name"]
        if container["args"] == ["serve"]:
            assert settings.keys.master.get_secret_value()
            assert settings.mail.smtp_host
            assert settings.server.metrics_port
            # Callers show certificates, and none is trusted for the network that it is in.
            assert settings.server.tls_client_ca_file
            assert all(isinstance(caller, str) for caller in settings.server.trusted_callers)
            mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
            assert str(settings.server.tls_client_ca_file.parent) in mounted


def test_manifests_run_what_the_image_allows() -> None:
    """The pods run hardened, as the user of the image."""
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }


def test_manifests_probe_what_the_server_answers() -> None:
    """Readiness is the image's own health check, liveness no more than a connection: no restart for a lost database."""
    (server,) = (container for container in containers() if container["args"] == ["serve"])
    port = int(last("EXPOSE"))
    assert server["readinessProbe"]["exec"] == {"command": health_check()}
    assert server["readinessProbe"]["timeoutSeconds"] > TIMEOUT_SECONDS
    assert server["livenessProbe"] == {"tcpSocket": {"port": port}}
    assert {"name": "grpc", "containerPort": port} in server["ports"]
    assert f"`grpc: {{port: {port}, service: {AUTH_SERVICE}}}`" in DEPLOY


def test_manifests_give_the_server_time_to_stop() -> None:
    """Kubernetes kills a pod no sooner than its pause and its calls and mails in flight had their time."""
    (pod,) = (pod for pod in pods() if pod["containers"][0]["args"] == ["serve"])
    pause = timedelta(seconds=pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"])
    assert timedelta(seconds=pod["terminationGracePeriodSeconds"]) > pause + stop_time()
