-- How often a device's reports were written. A writing holds only where this is still what it was when they
-- were read, so that nobody needs to lock the device.
ALTER TABLE device_current_state ADD COLUMN revision INTEGER NOT NULL DEFAULT 1;

-- The time zone that stands in the report: asked for with each one, it is not to be looked for in the text.
ALTER TABLE device_current_state ADD COLUMN said_time_zone TEXT;
UPDATE device_current_state SET said_time_zone = report ->> 'time_zone';
