// The Go package github.com/gorilla/websocket. It sends messages of more than 4 KiB in several frames.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/gorilla/websocket"
)

type attempt struct {
	URL       string
	Protocols []string
	Headers   map[string]string
	Text      string
}

type outcome map[string]map[string]any

func main() {
	var attempts []attempt
	check(json.NewDecoder(os.Stdin).Decode(&attempts))
	for _, one := range attempts {
		line, err := json.Marshal(one.run())
		check(err)
		fmt.Println(string(line))
	}
}

func (a attempt) run() outcome {
	// Without the environment's proxies, which do not reach loopback.
	dialer := websocket.Dialer{Subprotocols: a.Protocols}
	headers := map[string][]string{}
	for name, value := range a.Headers {
		headers[name] = []string{value}
	}
	socket, response, err := dialer.Dial(a.URL, headers)
	if err == websocket.ErrBadHandshake {
		return outcome{"refused": {"status": response.StatusCode}}
	}
	check(err)
	defer socket.Close()

	ponged := false
	socket.SetPongHandler(func(payload string) error {
		ponged = ponged || payload == "ping"
		return nil
	})
	// These fail if the server has already closed. The next read shows.
	_ = socket.WriteMessage(websocket.PingMessage, []byte("ping"))
	_ = socket.WriteMessage(websocket.TextMessage, []byte(a.Text))
	_, text, err := socket.ReadMessage()
	if err != nil {
		frame := closeFrame(err)
		return outcome{"closed": {"protocol": socket.Subprotocol(), "code": frame.Code, "reason": frame.Text}}
	}
	if !ponged {
		panic("no pong before the echo")
	}
	check(socket.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")))
	_, _, err = socket.ReadMessage()
	return outcome{"echoed": {"protocol": socket.Subprotocol(), "text": string(text), "code": closeFrame(err).Code}}
}

func closeFrame(err error) *websocket.CloseError {
	frame, ok := err.(*websocket.CloseError)
	if !ok {
		panic(fmt.Sprint("instead of a close frame: ", err))
	}
	return frame
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
