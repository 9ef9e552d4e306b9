"""An IP camera as ONVIF sees it, by ipycam: WS-Discovery, device and media service, logins. Its pictures come from somewhere else.

    onvif_camera.py ADDRESS HTTP_PORT RTSP_PORT USER PASSWORD

Says "ready" when it can be asked.
"""

import http.server
import sys
import types

import ipycam

address, http_port, rtsp_port, user, password = sys.argv[1:]
config = ipycam.CameraConfig(
    name="Yard",
    manufacturer="Acme",
    model="X1",
    local_ip=address,
    onvif_port=int(http_port),
    rtsp_port=int(rtsp_port),
    username=user,
    password=password,
    main_width=640,
    main_height=480,
    main_fps=15,
    main_stream_name="main",
    sub_width=320,
    sub_height=240,
    sub_fps=15,
    sub_stream_name="sub",
)
service = ipycam.ONVIFService(config)
ipycam.IPCameraHTTPHandler.camera = types.SimpleNamespace(config=config, onvif=service)
server = http.server.ThreadingHTTPServer((address, config.onvif_port), ipycam.IPCameraHTTPHandler)
ipycam.WSDiscoveryServer(service).start()
print("ready", flush=True)
server.serve_forever()
