package local

import (
	"encoding/json"
	"errors"
	"os"
)

// Ready is what a node tells, in a file, when it serves: the addresses that it
// really bound.
type Ready struct {
	HTTP    string `json:"http"`            // base URL for clients
	Cluster string `json:"cluster"`         // host:port for other nodes
	Debug   string `json:"debug,omitempty"` // base URL of the debug port
}

// WriteReady writes r to path whole or not at all: whoever polls for the file
// never reads half of it.
func WriteReady(path string, r Ready) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(data, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// readReady reads the file that WriteReady wrote; ok is false while there is
// none.
func readReady(path string) (r Ready, ok bool, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Ready{}, false, nil
	}
	if err != nil {
		return Ready{}, false, err
	}
	return r, true, json.Unmarshal(data, &r)
}
