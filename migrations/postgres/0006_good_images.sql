-- The images that each service of a device proved healthy on, and not only the last of them: where a
-- device is taken back from the last one, the one before is where it goes.

ALTER TABLE device_last_good DROP CONSTRAINT device_last_good_pkey;
ALTER TABLE device_last_good ADD PRIMARY KEY (device_uuid, app_id, service_id, image);
