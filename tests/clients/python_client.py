"""Drives the running service as a backend in Python would: <address> <secret>.

The stubs are generated here, from the protos of this repository, so that they cannot be out of date.
"""

import collections
import pathlib
import sys
import tempfile
import threading

import grpc
import grpc_tools
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
SERVICE = "videosession.v1.VideoSessionService"
TIMEOUT = 60


def generate_stubs() -> None:
    out = tempfile.mkdtemp()
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    protos = HERE.parent.parent / "proto"
    args = ["protoc", f"-I{protos}", f"-I{HERE}", f"-I{well_known}", f"--python_out={out}", f"--grpc_python_out={out}"]
    annotations = [f"google/api/{name}.proto" for name in ("annotations", "field_behavior", "http")]
    assert protoc.main([*args, "videosession/v1/video_session.proto", "google_rpc.proto", *annotations]) == 0
    sys.path.insert(0, out)


generate_stubs()
import google_rpc_pb2 as rpc  # noqa: E402
from videosession.v1 import video_session_pb2 as pb  # noqa: E402
from videosession.v1 import video_session_pb2_grpc as pb_grpc  # noqa: E402


class Details(
    collections.namedtuple("Details", ("method", "timeout", "metadata", "credentials", "wait_for_ready", "compression")),
    grpc.ClientCallDetails,
):
    pass


class Secret(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
):
    """Shows the secret with every call."""

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def call(self, proceed, details, request):
        metadata = [*(details.metadata or []), ("x-internal-secret", self.secret)]
        timeout, compression = details.timeout or TIMEOUT, details.compression
        shown = Details(details.method, timeout, metadata, details.credentials, None, compression)
        return proceed(shown, request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_stream = call


def refused(call, code: grpc.StatusCode, reason: str) -> rpc.Status:
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        trailers = dict(error.trailing_metadata())
        status = rpc.Status.FromString(trailers["grpc-status-details-bin"])
        info = rpc.ErrorInfo()
        assert any(detail.Unpack(info) for detail in status.details)
        assert (info.reason, info.domain) == (reason, "videosession.v1"), info
        assert status.code == code.value[0]
        assert status.message == error.details()
        return status
    raise AssertionError(f"this should have been refused with {reason}")


def sessions(stub) -> None:
    create = pb.CreateSessionRequest(
        appointment_id="python-1", doctor_id="doctor-1", patient_id="patient-1", labels={"ward": "3"}
    )
    first = stub.CreateSession(create)
    assert first.created
    again = stub.CreateSession(create)
    assert not again.created and again.session == first.session
    session_id = first.session.session_id

    watch = stub.WatchSession(pb.WatchSessionRequest(session_id=session_id))
    assert next(watch).event.type == "session.created"

    join = pb.JoinSessionRequest(session_id=session_id, role=pb.ROLE_PATIENT, user_id="patient-1", display_name="Zoë")
    joined = stub.JoinSession(join)
    assert joined.join_url == f"{first.session.base_url}?token={joined.token}"
    assert list(joined.permissions) == ["participant"]
    assert joined.expires_in.ToSeconds() == 3600
    event = next(watch).event
    assert event.type == "session.joined" and event.joined.user_id == "patient-1"

    update = pb.UpdateSessionRequest(session_id=session_id, doctor_id="doctor-2", expected_version=2)
    update.update_mask.FromJsonString("doctorId")
    assert stub.UpdateSession(update).session.version == 3
    refused(lambda: stub.UpdateSession(update), grpc.StatusCode.ABORTED, "VERSION_MISMATCH")
    assert list(next(watch).event.updated.fields) == ["doctor_id"]

    got = stub.GetSession(pb.GetSessionRequest(appointment_id="python-1")).session
    assert got.doctor_id == "doctor-2"
    listed = stub.ListSessions(pb.ListSessionsRequest(user_id="doctor-2"))
    assert [session.session_id for session in listed.sessions] == [session_id]

    ended = stub.EndSession(pb.EndSessionRequest(session_id=session_id, reason="done")).session
    assert ended.state == pb.SESSION_STATE_ENDED and ended.end_reason == "done"
    assert next(watch).event.ended.reason == "done"
    watch.cancel()
    refused(lambda: stub.JoinSession(join), grpc.StatusCode.FAILED_PRECONDITION, "SESSION_ENDED")
    events = stub.ListSessionEvents(pb.ListSessionEventsRequest(session_id=session_id))
    assert [event.sequence for event in events.events] == [1, 2, 3, 4] and events.next_sequence == 4


def errors(stub, address: str) -> None:
    status = refused(
        lambda: stub.CreateSession(pb.CreateSessionRequest(appointment_id="not an id")),
        grpc.StatusCode.INVALID_ARGUMENT,
        "VALIDATION_FAILED",
    )
    faults = rpc.BadRequest()
    assert any(detail.Unpack(faults) for detail in status.details)
    assert [fault.field for fault in faults.field_violations] == ["appointment_id", "doctor_id", "patient_id"]
    get = pb.GetSessionRequest(session_id="sess_unknown")
    refused(lambda: stub.GetSession(get), grpc.StatusCode.NOT_FOUND, "SESSION_NOT_FOUND")
    create = pb.CreateSessionRequest(appointment_id="python-2", doctor_id="doctor-1", patient_id="patient-1")
    refused(
        lambda: stub.CreateSession(create, compression=grpc.Compression.Gzip),
        grpc.StatusCode.UNIMPLEMENTED,
        "ENCODING_UNSUPPORTED",
    )
    with grpc.insecure_channel(address) as channel:
        bare = pb_grpc.VideoSessionServiceStub(channel)
        refused(lambda: bare.GetSession(get), grpc.StatusCode.UNAUTHENTICATED, "SECRET_MISSING")
        wrong = pb_grpc.VideoSessionServiceStub(grpc.intercept_channel(channel, Secret("wrong")))
        refused(lambda: wrong.GetSession(get), grpc.StatusCode.UNAUTHENTICATED, "SECRET_INVALID")


def racing(stub) -> None:
    create = pb.CreateSessionRequest(appointment_id="python-race", doctor_id="doctor-1", patient_id="patient-1")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(stub.CreateSession(create))) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.session.session_id for answer in answers}) == 1
    assert sum(answer.created for answer in answers) == 1


def health(channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for service in ["", SERVICE]:
        request = health_pb2.HealthCheckRequest(service=service)
        assert stub.Check(request, timeout=TIMEOUT).status == health_pb2.HealthCheckResponse.SERVING
        watch = stub.Watch(request)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


def reflection(channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert {SERVICE, "grpc.health.v1.Health"} <= set(database.get_services())
    service = descriptor_pool.DescriptorPool(database).FindServiceByName(SERVICE)
    assert "JoinSession" in service.methods_by_name


def main() -> None:
    address, secret = sys.argv[1:]
    with grpc.insecure_channel(address) as channel:
        with_secret = grpc.intercept_channel(channel, Secret(secret))
        stub = pb_grpc.VideoSessionServiceStub(with_secret)
        sessions(stub)
        errors(stub, address)
        racing(stub)
        health(channel)
        reflection(with_secret)
    print("every call came out as it should")


main()
