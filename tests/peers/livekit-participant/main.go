// One participant of a LiveKit room, for tests: joins with the ticket that it is given, publishes a microphone and a camera, and
// says on its standard output what becomes of it. It leaves when its standard input ends.
//
// The first line of the standard input is the token: on a command line, others could read it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// The same frame again and again: the node does not decode it.
type frames struct {
	lksdk.BaseSampleProvider
	frame []byte
	every time.Duration
}

func (f *frames) NextSample(context.Context) (media.Sample, error) {
	return media.Sample{Data: f.frame, Duration: f.every}, nil
}

var output sync.Mutex

func say(format string, values ...any) {
	output.Lock()
	defer output.Unlock()
	fmt.Printf(format+"\n", values...)
}

func publish(room *lksdk.Room, mime string, rate uint32, source livekit.TrackSource, frame []byte, every time.Duration) error {
	codec := webrtc.RTPCodecCapability{MimeType: mime, ClockRate: rate}
	if source == livekit.TrackSource_MICROPHONE {
		codec.Channels = 2
	}
	track, err := lksdk.NewLocalTrack(codec)
	if err != nil {
		return err
	}
	if err := track.StartWrite(&frames{frame: frame, every: every}, nil); err != nil {
		return err
	}
	_, err = room.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{Name: source.String(), Source: source})
	return err
}

func main() {
	url := flag.String("url", "ws://127.0.0.1:7880", "the node, or what stands before it")
	flag.Parse()
	lksdk.SetLogger(logger.GetDiscardLogger())
	input := bufio.NewReader(os.Stdin)
	token, err := input.ReadString('\n')
	if err != nil {
		say("no token: %v", err)
		os.Exit(2)
	}
	callback := lksdk.NewRoomCallback()
	callback.OnDisconnectedWithReason = func(reason lksdk.DisconnectionReason) { say("disconnected %v", reason) }
	callback.OnTrackMuted = func(pub lksdk.TrackPublication, p lksdk.Participant) {
		if _, ok := p.(*lksdk.LocalParticipant); ok {
			say("muted %v", pub.Source())
		}
	}
	room, err := lksdk.ConnectToRoomWithToken(*url, strings.TrimSpace(token), callback)
	if err != nil {
		// An error of the SDK's repeats the URL, and with it the token.
		say("refused")
		os.Exit(1)
	}
	say("connected")
	silence, black := []byte{0xf8, 0xff, 0xfe}, []byte{0x30, 0x01, 0x00, 0x9d, 0x01, 0x2a, 0x10, 0x00, 0x10, 0x00, 0x00, 0x47, 0x08, 0x85, 0x85, 0x88}
	for _, err := range []error{
		publish(room, webrtc.MimeTypeOpus, 48000, livekit.TrackSource_MICROPHONE, silence, 20*time.Millisecond),
		publish(room, webrtc.MimeTypeVP8, 90000, livekit.TrackSource_CAMERA, black, 100*time.Millisecond),
	} {
		if err != nil {
			say("not published")
		} else {
			say("published")
		}
	}
	_, _ = io.Copy(io.Discard, input)
	room.Disconnect()
}
