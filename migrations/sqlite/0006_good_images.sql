-- The images that each service of a device proved healthy on, and not only the last of them: where a
-- device is taken back from the last one, the one before is where it goes.

CREATE TABLE good_images (
    device_uuid BLOB NOT NULL,
    app_id      INTEGER NOT NULL,
    service_id  INTEGER NOT NULL,
    image       TEXT NOT NULL,
    proved_at   TEXT NOT NULL,
    rollout_id  BLOB,
    PRIMARY KEY (device_uuid, app_id, service_id, image)
) STRICT;
INSERT INTO good_images (device_uuid, app_id, service_id, image, proved_at, rollout_id)
SELECT device_uuid, app_id, service_id, image, proved_at, rollout_id FROM device_last_good;
DROP TABLE device_last_good;
ALTER TABLE good_images RENAME TO device_last_good;
