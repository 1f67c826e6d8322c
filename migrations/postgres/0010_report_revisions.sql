-- How often a device's reports were written. A writing holds only where this is still what it was when they
-- were read, so that nobody needs to lock the device.
ALTER TABLE device_current_state ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;

-- The time zone that stands in the report: asked for with each one, it is not to be looked for in the text.
ALTER TABLE device_current_state ADD COLUMN said_time_zone TEXT;
UPDATE device_current_state SET said_time_zone = report ->> 'time_zone';

-- Kept as they came: JSON is the text and is checked; JSONB would be taken apart, sorted and put together again,
-- for queries that nobody makes. Rows of up to 4 kB stay whole and as they are: to compress one costs more
-- than to write it.
ALTER TABLE device_current_state
    ALTER COLUMN report TYPE JSON USING report::json,
    ALTER COLUMN observation TYPE JSON USING observation::json;
ALTER TABLE device_current_state SET (toast_tuple_target = 4080);
