package httpapi

// DecodeBatchLine lets benchmarks outside the package reach the decoder.
func DecodeBatchLine(line []byte) error {
	_, err := decodeBatchLine(line)
	return err
}

// RestCheckpoint lets tests see what a comparison becomes.
var RestCheckpoint = restCheckpoint
