// A client on gortsplib, the RTSP library that MediaMTX is built on, for the end-to-end tests.
//
//	gortsplib play    [-transport tcp|udp] [-seconds N] URL
//	gortsplib publish [-transport tcp|udp] [-seconds N] [-fps N] -file FILE.h264 URL
//
// Says on standard output what happens, one JSON object a line with "event" and "us" (wall clock, microseconds): "playing",
// "unit" (an access unit: bytes, key, rtp, and ntp_us where a sender report came before), "publishing", and at last "end"
// (units, keys, packets, lost, faults). Exit code 1 with the reason on standard error when anything failed.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/pion/rtp"
)

type event map[string]any

var output sync.Mutex

func say(what string, fields event) {
	fields["event"] = what
	fields["us"] = time.Now().UnixMicro()
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

type options struct {
	protocol gortsplib.Protocol
	duration time.Duration
	fps      int
	file     string
	url      string
}

func parse(arguments []string) (options, error) {
	flags := flag.NewFlagSet("gortsplib", flag.ContinueOnError)
	transport := flags.String("transport", "tcp", "tcp or udp")
	seconds := flags.Float64("seconds", 5, "how long")
	fps := flags.Int("fps", 30, "frames per second to publish")
	file := flags.String("file", "", "Annex B file to publish, over and over")
	if err := flags.Parse(arguments); err != nil {
		return options{}, err
	}
	if flags.NArg() != 1 {
		return options{}, errors.New("one URL, please")
	}
	protocols := map[string]gortsplib.Protocol{"tcp": gortsplib.ProtocolTCP, "udp": gortsplib.ProtocolUDP}
	protocol, known := protocols[*transport]
	if !known {
		return options{}, fmt.Errorf("transport %q is neither tcp nor udp", *transport)
	}
	duration := time.Duration(*seconds * float64(time.Second))
	return options{protocol: protocol, duration: duration, fps: *fps, file: *file, url: flags.Arg(0)}, nil
}

// tally is what a player counted; its lock also orders the callbacks' lines before the last one.
type tally struct {
	sync.Mutex
	units, keys, packets, lost, faults int
}

func play(o options) error {
	u, err := base.ParseURL(o.url)
	if err != nil {
		return err
	}
	var count tally
	c := gortsplib.Client{
		Scheme:   u.Scheme,
		Host:     u.Host,
		Protocol: &o.protocol,
		OnPacketsLost: func(lost uint64) {
			count.Lock()
			defer count.Unlock()
			count.lost += int(lost)
		},
		OnDecodeError: func(error) {
			count.Lock()
			defer count.Unlock()
			count.faults++
		},
	}
	if err := c.Start(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close()
	session, _, err := c.Describe(u)
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	var video *format.H264
	media := session.FindFormat(&video)
	if media == nil {
		return errors.New("no H.264 in the description")
	}
	decoder, err := video.CreateDecoder()
	if err != nil {
		return err
	}
	if err := c.SetupAll(session.BaseURL, session.Medias); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	c.OnPacketRTP(media, video, func(packet *rtp.Packet) {
		count.Lock()
		defer count.Unlock()
		count.packets++
		unit, err := decoder.Decode(packet)
		if errors.Is(err, rtph264.ErrMorePacketsNeeded) {
			return
		}
		if err != nil {
			count.faults++
			return
		}
		size := 0
		for _, nal := range unit {
			size += len(nal)
		}
		key := h264.IsRandomAccess(unit)
		count.units++
		if key {
			count.keys++
		}
		fields := event{"bytes": size, "key": key, "rtp": packet.Timestamp}
		if captured, known := c.PacketNTP(media, packet); known {
			fields["ntp_us"] = captured.UnixMicro()
		}
		say("unit", fields)
	})
	if _, err := c.Play(nil); err != nil {
		return fmt.Errorf("play: %w", err)
	}
	say("playing", event{"medias": len(session.Medias)})
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err = <-ended:
		err = fmt.Errorf("ended early: %w", err)
	case <-time.After(o.duration):
	}
	count.Lock()
	defer count.Unlock()
	say("end", event{
		"units": count.units, "keys": count.keys, "packets": count.packets, "lost": count.lost, "faults": count.faults,
	})
	return err
}

// units splits an Annex B file into access units: a new one starts at a delimiter, at parameter sets or SEI after a slice,
// and at a slice whose first_mb_in_slice is 0 (its first bit is then 1).
func units(file []byte) [][][]byte {
	var all [][][]byte
	var unit [][]byte
	sliced := false
	for _, part := range bytes.Split(file, []byte{0, 0, 1}) {
		nal := bytes.TrimRight(part, "\x00")
		if len(nal) < 2 {
			continue
		}
		kind := h264.NALUType(nal[0] & 0x1f)
		slice := kind == h264.NALUTypeIDR || kind == h264.NALUTypeNonIDR
		if sliced && (!slice || nal[1]&0x80 != 0) {
			all = append(all, unit)
			unit, sliced = nil, false
		}
		unit = append(unit, nal)
		sliced = sliced || slice
	}
	if sliced {
		all = append(all, unit)
	}
	return all
}

func publish(o options) error {
	file, err := os.ReadFile(o.file)
	if err != nil {
		return err
	}
	all := units(file)
	if len(all) == 0 {
		return fmt.Errorf("%s holds no access unit", o.file)
	}
	video := &format.H264{PayloadTyp: 96, PacketizationMode: 1}
	for _, nal := range all[0] {
		switch h264.NALUType(nal[0] & 0x1f) {
		case h264.NALUTypeSPS:
			video.SPS = nal
		case h264.NALUTypePPS:
			video.PPS = nal
		}
	}
	media := &description.Media{Type: description.MediaTypeVideo, Formats: []format.Format{video}}
	c := gortsplib.Client{Protocol: &o.protocol}
	if err := c.StartRecording(o.url, &description.Session{Medias: []*description.Media{media}}); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer c.Close()
	encoder, err := video.CreateEncoder()
	if err != nil {
		return err
	}
	say("publishing", event{"units": len(all)})
	interval := time.Second / time.Duration(o.fps)
	start := time.Now()
	sent := 0
	for ; time.Since(start) < o.duration; sent++ {
		time.Sleep(time.Until(start.Add(time.Duration(sent) * interval)))
		packets, err := encoder.Encode(all[sent%len(all)])
		if err != nil {
			return err
		}
		for _, packet := range packets {
			packet.Timestamp = uint32(sent * 90000 / o.fps)
			if err := c.WritePacketRTP(media, packet); err != nil {
				return fmt.Errorf("ended early: %w", err)
			}
		}
	}
	say("end", event{"units": sent})
	return nil
}

func main() {
	commands := map[string]func(options) error{"play": play, "publish": publish}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: gortsplib play|publish [flags] URL")
		os.Exit(2)
	}
	o, err := parse(os.Args[2:])
	if err == nil {
		err = commands[os.Args[1]](o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gortsplib:", err)
		os.Exit(1)
	}
}
