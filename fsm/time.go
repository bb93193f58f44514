package fsm

import "time"

// Time is an instant in microseconds since the Unix epoch, UTC: the resolution
// of the log and of the API. The zero Time means "absent" wherever a time is
// optional.
type Time int64

// TimeOf converts t, dropping what is finer than a microsecond.
func TimeOf(t time.Time) Time { return Time(t.UnixMicro()) }

// Std converts to the standard library's time, in UTC.
func (t Time) Std() time.Time { return time.UnixMicro(int64(t)).UTC() }

// TimeLayout is RFC 3339 with exactly six digits of a second's fraction.
const TimeLayout = "2006-01-02T15:04:05.000000Z"

// String returns the API's form of t.
func (t Time) String() string { return t.Std().Format(TimeLayout) }

// MarshalText writes the API's form.
func (t Time) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads RFC 3339 with any zone and any fraction.
func (t *Time) UnmarshalText(b []byte) error {
	p, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return err
	}
	*t = TimeOf(p)
	return nil
}
