"""A doctor and a patient without a browser, from docs/signalling.md alone: they open their join links, meet, exchange an
offer, an answer and candidates, and the doctor ends the session.

    signalling_client.py <the doctor's link> <the patient's link> <the origin of CLIENT_BASE_URL>

Needs Python 3.9 and `websockets`.
"""

import asyncio
import http.client
import json
import sys
from urllib.parse import parse_qs, urlsplit

import websockets


class Participant:
    """One who opened their link and connected."""

    def __init__(self, link, origin):
        self.link = urlsplit(link)
        self.origin = origin
        self.socket = None
        self.user_id = None

    def open_link(self):
        """The link's token for a cookie, and the slot that names it."""
        connection = http.client.HTTPConnection(self.link.netloc)
        connection.request("GET", f"{self.link.path}?{self.link.query}")
        answer = connection.getresponse()
        assert answer.status == 303, answer.status
        cookie = answer.getheader("set-cookie").split(";")[0]
        slot = parse_qs(urlsplit(answer.getheader("location")).query)["p"][0]
        assert cookie.startswith(f"vs_{slot}="), cookie
        return cookie, slot

    async def connect(self):
        cookie, slot = self.open_link()
        self.socket = await websockets.connect(
            f"ws://{self.link.netloc}{self.link.path}/ws?p={slot}",
            origin=self.origin,
            additional_headers={"Cookie": cookie},
        )
        connected = await self.expect("connected")
        self.user_id = connected["user_id"]
        return connected

    async def send(self, kind, **fields):
        await self.socket.send(json.dumps({"type": kind, **fields}))

    async def expect(self, kind):
        """The next message of that type; others are passed over, as one may do with what one does not know."""
        while True:
            message = json.loads(await self.socket.recv())
            assert message["type"] != "error", message
            if message["type"] == kind:
                return message

    async def closed(self):
        try:
            while True:
                await self.socket.recv()
        except websockets.ConnectionClosed:
            return self.socket.close_code


async def meet(doctor, patient):
    connected = await patient.connect()
    assert connected["status"] == "waiting", connected
    assert (await patient.expect("waiting"))["reason"] == "host-absent"

    connected = await doctor.connect()
    assert connected["status"] == "admitted", connected
    assert isinstance(connected["ice_servers"], list) and connected["ice_policy"] in ("all", "relay")
    assert (await doctor.expect("existing-participants"))["participants"] == []
    joined = await doctor.expect("user-joined")
    assert joined["user_id"] == patient.user_id, joined

    await patient.expect("admitted")
    there = (await patient.expect("existing-participants"))["participants"]
    assert [other["user_id"] for other in there] == [doctor.user_id], there


async def negotiate(doctor, patient):
    # The doctor was told of somebody new, and so offers.
    await doctor.send("offer", target_id=patient.user_id, data={"sdp": "an offer"})
    offer = await patient.expect("offer")
    assert (offer["sender_id"], offer["data"]["sdp"]) == (doctor.user_id, "an offer"), offer
    await patient.send("answer", target_id=offer["sender_id"], data={"sdp": "an answer"})
    answer = await doctor.expect("answer")
    assert (answer["sender_id"], answer["data"]["sdp"]) == (patient.user_id, "an answer"), answer
    candidate = {"candidate": "a candidate", "sdpMLineIndex": 0, "sdpMid": "0"}
    for one, other in ((doctor, patient), (patient, doctor)):
        await one.send("ice-candidate", target_id=other.user_id, data=candidate)
        assert (await other.expect("ice-candidate"))["data"] == candidate


async def talk(doctor, patient):
    await patient.send("mute-status", data={"muted": True, "camera_off": False})
    assert (await doctor.expect("mute-status"))["data"]["muted"] is True
    await doctor.send("emoji", data={"emoji": "👋"})
    assert (await patient.expect("emoji"))["sender_id"] == doctor.user_id


async def main():
    doctor, patient = (Participant(link, sys.argv[3]) for link in sys.argv[1:3])
    await meet(doctor, patient)
    await negotiate(doctor, patient)
    await talk(doctor, patient)
    await doctor.send("end-session")
    for participant in (doctor, patient):
        assert (await participant.expect("session-ended"))["reason"]
        assert await participant.closed() == 4004
    print("completed")


asyncio.run(asyncio.wait_for(main(), 60))
